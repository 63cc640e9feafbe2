export function ChannelPage(_: { topic: string; channel: string }) {
  return null;
}

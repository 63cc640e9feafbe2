export function TopicPage(_: { topic: string }) {
  return null;
}

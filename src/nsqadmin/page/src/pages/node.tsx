export function NodePage(_: { node: string }) {
  return null;
}

export function NodesPage(_: {  }) {
  return null;
}

export function CounterPage(_: {  }) {
  return null;
}

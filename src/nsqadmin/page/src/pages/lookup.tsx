export function LookupPage(_: {  }) {
  return null;
}

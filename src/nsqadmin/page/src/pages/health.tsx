export function HealthPage(_: {  }) {
  return null;
}

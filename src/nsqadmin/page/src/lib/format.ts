// Numbers, durations and times as people read them.

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat('en-US', { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 1 });

/** Every digit, in groups of three. */
export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : whole.format(value);
}

/** For tiles and axes: 12.3K. */
export function brief(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–';
  return Math.abs(value) < 10_000 ? tenth.format(value) : short.format(value);
}

/** Per second; small rates keep a digit. */
export function rate(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–';
  return Math.abs(value) < 100 ? tenth.format(value) : whole.format(value);
}

const UNITS: [string, number][] = [
  ['d', 86_400e9],
  ['h', 3600e9],
  ['m', 60e9],
  ['s', 1e9],
];

/** A duration in nanoseconds: the two largest units, or a decimal below a minute. */
export function duration(ns: number): string {
  if (ns < 1) return '0';
  if (ns < 1e3) return `${ns}ns`;
  if (ns < 1e6) return `${decimal(ns / 1e3)}µs`;
  if (ns < 1e9) return `${decimal(ns / 1e6)}ms`;
  if (ns < 60e9) return `${decimal(ns / 1e9)}s`;
  const parts: string[] = [];
  let rest = ns;
  for (const [unit, size] of UNITS) {
    const amount = Math.floor(rest / size);
    rest -= amount * size;
    if (amount > 0) parts.push(`${amount}${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(' ');
}

function decimal(value: number): string {
  return String(Number(value.toPrecision(value < 100 ? 2 : 3)));
}

/** 0.99 becomes p99, 0.999 becomes p99.9. */
export function quantile(value: number): string {
  return `p${Number((value * 100).toFixed(3))}`;
}

/** A share of one in percent. */
export function percent(part: number, total: number): string {
  return total > 0 ? `${tenth.format((100 * part) / total)}%` : '0%';
}

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–';
  let [amount, unit] = [value, 0];
  while (amount >= 1024 && unit < BYTE_UNITS.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return `${amount < 10 && unit > 0 ? amount.toFixed(1) : whole.format(amount)} ${BYTE_UNITS[unit]}`;
}

/** The time of day, to the second. */
export function clock(at_ms: number): string {
  return new Date(at_ms).toLocaleTimeString('en-GB');
}

/** One word for one thing, another for several. */
export function plural(amount: number, one: string, many = `${one}s`): string {
  return `${count(amount)} ${amount === 1 ? one : many}`;
}

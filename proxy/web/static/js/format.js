// Numbers as people read them. `words.py` and `web/words.py` say the same on the server: a page that
// this takes over must not change a letter by that.

export const NOTHING = "–";
const SIZES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const COUNTS = ["", "k", "M", "G", "T"];
const FIRST_SHORT_COUNT = 100_000;
const MINUTE = 60, HOUR = 3600, DAY = 86_400;
const AGES = [
  [90, 1, "s"],
  [90 * MINUTE, MINUTE, "min"],
  [36 * HOUR, HOUR, "h"],
  [60 * DAY, DAY, "days"],
  [730 * DAY, 30.44 * DAY, "months"],
  [Infinity, 365.25 * DAY, "years"],
];

export function count(number) {
  return number < FIRST_SHORT_COUNT ? rounded(number, 0) : scaled(number, 1000, COUNTS);
}

export function size(number) {
  return number < 1024 ? `${rounded(number, 0)} B` : scaled(number, 1024, SIZES);
}

// Pages and files that were answered, of which a cache can be asked whether it had them.
export function asked(sums) {
  return sums.hits + sums.misses;
}

export function percent(part, whole) {
  if (whole <= 0) return NOTHING;
  let share = part / whole * 100;
  if (share > 0 && share < 100) share = Math.min(99.9, Math.max(0.1, share));
  return `${rounded(share, share === 0 || share === 100 ? 0 : 1)}%`;
}

export function duration(seconds) {
  if (seconds === null) return NOTHING;
  if (seconds < 0.9995) return `${rounded(seconds * 1000, 0)} ms`;
  if (seconds < 59.95) return `${rounded(seconds, 1)} s`;
  const whole = Math.floor(seconds);
  if (whole < HOUR) return `${Math.max(1, Math.floor(whole / MINUTE))} min`;
  if (whole < 2 * DAY) return two(whole, HOUR, "h", MINUTE, "min");
  return two(whole, DAY, "d", HOUR, "h");
}

export function ago(moment, now) {
  const seconds = (now - moment) / 1000;
  const distance = Math.abs(seconds);
  if (distance < 5) return "just now";
  const [, unitSeconds, unit] = AGES.find(([below]) => distance < below);
  const away = `${rounded(distance / unitSeconds, 0)} ${unit}`;
  return seconds > 0 ? `${away} ago` : `in ${away}`;
}

export function moment(time) {
  const iso = time.toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`;
}

function rounded(number, digits) {
  const factor = 10 ** digits;
  const value = Math.floor(number * factor + 0.5) / factor;
  // In one language whatever the browser speaks, like the words around it.
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function scaled(number, base, units) {
  let at = 0;
  while (number >= base - 0.5 && at < units.length - 1) {
    number /= base;
    at += 1;
  }
  // Three digits, and 20 GiB as one writes it in the configuration.
  const digits = number < 9.995 ? 2 : number < 99.95 ? 1 : 0;
  const written = rounded(number, digits);
  return `${digits ? written.replace(/\.?0+$/, "") : written} ${units[at]}`;
}

function two(whole, first, name, second, secondName) {
  const rest = Math.floor((whole % first) / second);
  return `${Math.floor(whole / first)} ${name}` + (rest ? ` ${rest} ${secondName}` : "");
}

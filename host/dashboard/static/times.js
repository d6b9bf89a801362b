/* Times as a visitor says them: how long ago, and clocks in the visitor's own zone. */

const SECOND = 1000;
const UNITS = [[31557600, "year"], [2629800, "month"], [86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];

/** As `host/dashboard/words.py` says it. */
function relative(seconds) {
  const distance = Math.abs(seconds);
  if (distance < 10) return seconds >= 0 ? "just now" : "now";
  const [length, unit] = UNITS.find(([least]) => distance >= least);
  const count = Math.floor(distance / length);
  const text = `${count.toLocaleString("en")} ${unit}${count === 1 ? "" : "s"}`;
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

/** Says times anew: `3 minutes ago`, and those of a clock in the visitor's own zone. */
export function tellTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (time.dataset.clock === undefined) {
      time.textContent = relative((Date.now() - moment) / SECOND);
    } else {
      const shown = moment.toLocaleTimeString("en-GB");
      time.textContent = time.dataset.clock ? `${shown}.${String(moment.getMilliseconds()).padStart(3, "0")}` : shown.slice(0, 5);
    }
  }
}

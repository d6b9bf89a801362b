/** As much of the web platform's test harness as the files need that are run here; another word of it is an error. */
export type Result = [name: string, reason: string];

function same(actual: unknown, expected: unknown, message = ""): void {
  if (!Object.is(actual, expected)) throw new Error(`${message} ${String(actual)} instead of ${String(expected)}`);
}

const WORDS = {
  assert_equals: same,
  assert_array_equals(actual: unknown[], expected: unknown[], message = ""): void {
    same(actual.length, expected.length, `${message} length:`);
    expected.forEach((one, index) => same(actual[index], one, `${message} [${index}]:`));
  },
};

/** The results of a script of tests. */
export function harness(script: string): Result[] {
  const results: Result[] = [];
  const test = (body: () => void, name: string): void => {
    let reason = "";
    try {
      body();
    } catch (error) {
      reason = String(error);
    }
    results.push([name, reason]);
  };
  new Function("test", ...Object.keys(WORDS), script)(test, ...Object.values(WORDS));
  return results;
}

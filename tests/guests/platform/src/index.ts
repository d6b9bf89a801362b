/** Runs public tests of the web platform where a function runs: what is posted, against the globals of a guest.
 *
 *  `urls` are rows {input, failure?}, `labels` pairs of a label and its encoding's name, `scripts` texts of files that
 *  are written for the web platform's own harness. The reply has a [name, reason] for each test; "" is a pass.
 */
import { harness, type Result } from "./harness.ts";

interface Asked {
  urls: { input: string; failure?: boolean }[];
  labels: [label: string, encoding: string][];
  scripts: string[];
}

function reason(check: () => string): string {
  try {
    return check();
  } catch (error) {
    return String(error);
  }
}

/** As the platform's own test of this table does: what is valid parses, and its `href` parses to itself. */
function urlReason(input: string, failure: boolean): string {
  if (URL.canParse(input) === failure) return failure ? "canParse says yes" : "canParse says no";
  if (!failure) return reason(() => (new URL(new URL(input).href).href === new URL(input).href ? "" : "href changes"));
  return reason(() => {
    try {
      return `parsed as ${new URL(input).href}`;
    } catch (error) {
      return error instanceof TypeError ? "" : `threw ${error}`;
    }
  });
}

/** As the platform's own test of labels does: upper case and white space around a label do not count. */
function labelReason(label: string, encoding: string): string {
  return reason(() => {
    for (const form of [label, label.toUpperCase(), `\t\n\f\r ${label} \r\f\n\t`]) {
      const found = new TextDecoder(form).encoding;
      if (found !== encoding.toLowerCase()) return `${JSON.stringify(form)} is ${found}`;
    }
    for (const space of ["\0", "\v", "\u00a0", "\u2028", "\u2029"]) {
      try {
        new TextDecoder(space + label);
        return `${JSON.stringify(space + label)} is taken`;
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
      }
    }
    return "";
  });
}

export default {
  async fetch(request: Request): Promise<Response> {
    const { urls, labels, scripts } = (await request.json()) as Asked;
    const results: Record<keyof Asked, Result[]> = {
      urls: urls.map(({ input, failure }) => [input, urlReason(input, failure === true)]),
      labels: labels.map(([label, encoding]) => [label, labelReason(label, encoding)]),
      scripts: scripts.flatMap(harness),
    };
    return Response.json(results);
  },
};

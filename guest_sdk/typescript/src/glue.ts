/** The component's exports, and the short way by which the host's calls reach them.
 *
 *  The toolchain's glue finds an export in `globalThis.__cqjs.asyncExports.guest` for each call. What it puts there
 *  itself looks our function up, makes two closures and passes them to the `then` of what our function returned; the
 *  first of them tells the host that the export has returned. That closure knows nothing but which export it belongs
 *  to. So the first call of an export in an instance keeps it, and puts a function of ours in the glue's place, which
 *  does the work and calls it: every later call makes nothing and looks nothing up. Our exports are plain functions for
 *  the same reason: a promise of an async function that never waits would cost more than the glue.
 *
 *  This leans on the inside of componentize-qjs, whose version is pinned in package.json; test_guest.py shows that the
 *  short way is taken. Where the glue looks different, every call goes the long way, which is its documented one. The
 *  table is an object of the guest's own memory: code that tampers with it breaks the calls of its own instance.
 */

/** What an export does. It never throws: an exception that leaves it is a trap. */
type Work = (...args: never[]) => void;
type Returned = () => void;
type AnyWork = (a?: unknown, b?: unknown, c?: unknown, d?: unknown, e?: unknown) => void;

interface Glue {
  readonly asyncExports?: { readonly guest?: Record<string, unknown> };
}

/** An object that is enough of a promise for the glue: it has settled, so it calls back at once. */
interface Settled {
  then(returned: Returned): void;
}

/** The export `name`, which does `work`. No export that returns a value can be made by this. */
export function exported(name: string, work: Work): AnyWork & Work {
  const run = work as AnyWork;
  const settled: Settled = {
    then(returned) {
      shorten(name, run, returned);
      returned();
    },
  };
  return (a, b, c, d, e) => {
    run(a, b, c, d, e);
    return settled;
  };
}

function shorten(name: string, run: AnyWork, returned: Returned): void {
  const table = (globalThis as { __cqjs?: Glue }).__cqjs?.asyncExports?.guest;
  if (typeof table?.[name] !== "function" || typeof returned !== "function") return;
  table[name] = ((a, b, c, d, e) => {
    run(a, b, c, d, e);
    returned();
  }) satisfies AnyWork;
}

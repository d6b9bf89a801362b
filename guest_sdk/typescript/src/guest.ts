/** What the component exports: turns the host's calls into calls of the author's handler and actor class.
 *
 *  Each export starts its work and returns; it never waits for it, and nothing on its way is an async function
 *  (promises.ts says why). The work ends through exactly one of `outcome.respond`, `outcome.return`, `outcome.fail`,
 *  `outcome.relay` and `outcome.crash`. An actor is constructed by the first call that reaches its instance; when that
 *  fails there is no actor, and the next call tries again.
 */
import * as outcome from "tenure:edge/outcome@0.1.0";
import { ActorContext, StatefulActor, blockedOn, type AlarmInfo } from "./actor.ts";
import { decode, encode } from "./codec.ts";
import { config, env } from "./env.ts";
import { ActorTypeNotFoundError, CodecError, causeName, crashMessage, describeThrown } from "./errors.ts";
import { exported } from "./glue.ts";
import { findMethod } from "./methods.ts";
import { clearOperations, rejectOperation, resolveOperation, resolveResponse } from "./operations.ts";
import { startServing } from "./phase.ts";
import { soon, whenSettled } from "./promises.ts";
import { gathered, isBinary, takeWire, wireHeaders } from "./web/body.ts";
import { Request } from "./web/request.ts";
import { Response } from "./web/response.ts";
import { clearTimers } from "./web/timers.ts";

const SDK = "typescript/0.1.0";

interface Handler {
  fetch(request: Request, environment: unknown): unknown;
}

type ActorClass = new (ctx: ActorContext, environment: unknown) => StatefulActor;
type ActorWithAlarm = StatefulActor & { alarm?: (info: AlarmInfo) => unknown };

let handler: Handler | undefined;
const classes = new Map<string, ActorClass>();
let actor: StatefulActor | undefined;

/** The component's exports for the namespace of the author's entry module. Runs once, when the component is built. */
export function guestOf(module: Record<string, unknown>) {
  const byDefault = module["default"] as Partial<Handler> | undefined;
  if (typeof byDefault?.fetch === "function") handler = byDefault as Handler;
  for (const name of Object.keys(module)) {
    const value = module[name];
    if (typeof value === "function" && value.prototype instanceof StatefulActor) classes.set(name, value as ActorClass);
  }
  if (handler === undefined && classes.size === 0) {
    throw new Error(
      "the entry module has nothing to serve: export default an object with a fetch function, " +
        "or export a class that extends StatefulActor",
    );
  }
  return {
    describe,
    fetch: exported("fetch", fetch),
    invoke: exported("invoke", invoke),
    alarm: exported("alarm", alarm),
    resolve: exported("resolve", resolveOperation),
    resolveResponse: exported("resolveResponse", resolveResponse),
    reject: exported("reject", rejectOperation),
  };
}

async function describe(): Promise<string> {
  startServing();
  return JSON.stringify({ sdk: SDK, handler: handler !== undefined, actors: [...classes.keys()] });
}

function fetch(method: string, url: string, headers: string, body: string, binary: boolean): void {
  beginCall();
  const request = Request.fromHost(method, url, headers, body, binary);
  if (config().actor === null) serveFetch(handler, request);
  else withActor(() => serveFetch(actor, request));
}

function invoke(name: string, args: string): void {
  beginCall();
  if (actor !== undefined) serveInvoke(name, args);
  else withActor(() => serveInvoke(name, args));
}

function alarm(retryCount: number): void {
  beginCall();
  withActor(() => serveAlarm(retryCount));
}

function beginCall(): void {
  startServing();
  clearOperations();
  clearTimers();
}

function serveFetch(target: Handler | undefined, request: Request): void {
  try {
    if (target === undefined) throw new TypeError("the entry module exports no default object with a fetch function");
    whenSettled(target.fetch(request, env), respond, fail);
  } catch (error) {
    fail(error);
  }
}

function respond(response: unknown): void {
  try {
    if (!(response instanceof Response)) throw new TypeError("fetch must return a Response");
    const waiting = gathered(response);
    if (waiting === undefined) sendResponse(response);
    else whenSettled(waiting, () => sendGathered(response), fail);
  } catch (error) {
    fail(error);
  }
}

function sendGathered(response: Response): void {
  try {
    sendResponse(response);
  } catch (error) {
    fail(error);
  }
}

function sendResponse(response: Response): void {
  const body = takeWire(response);
  outcome.respond(response.status, wireHeaders(response), body, isBinary(response));
}

function serveInvoke(name: string, args: string): void {
  try {
    const target = actor as StatefulActor;
    const method = findMethod(target, name);
    const decoded = decode(args);
    if (!Array.isArray(decoded)) throw new CodecError("the arguments of a call must be an array");
    whenSettled(method.apply(target, decoded), returnValue, fail);
  } catch (error) {
    fail(error);
  }
}

function returnValue(value: unknown): void {
  try {
    outcome.return(encode(value));
  } catch (error) {
    fail(error);
  }
}

function serveAlarm(retryCount: number): void {
  try {
    const target = actor as ActorWithAlarm;
    if (typeof target.alarm !== "function") throw new TypeError(`${target.constructor.name} has no alarm method`);
    whenSettled(target.alarm({ retryCount, isRetry: retryCount > 0 }), () => outcome.return(""), fail);
  } catch (error) {
    fail(error);
  }
}

function fail(error: unknown): void {
  const crash = crashMessage(error);
  if (crash !== undefined) return outcome.crash(crash);
  const [name, message, stack] = describeThrown(error);
  const cause = causeName(error);
  if (cause === "") outcome.fail(name, message, stack);
  else outcome.relay(name, message, cause, stack);
}

/** Runs `next`, which must not throw, when there is an actor: the first call of an instance constructs it. */
function withActor(next: () => void): void {
  if (actor !== undefined) return next();
  try {
    const identity = config().actor;
    if (identity === null) throw new TypeError("this instance runs the handler: it has no methods and no alarm");
    const constructor = classes.get(identity.type);
    if (constructor === undefined) {
      throw new ActorTypeNotFoundError(`the entry module exports no class ${identity.type}`);
    }
    const context = new ActorContext(identity.name);
    const made = new constructor(context, env);
    const started = (): void => {
      actor = made;
      outcome.ready();
      soon(next); // what the constructor began and did not block on goes first
    };
    const blocked = blockedOn(context);
    if (blocked === undefined) started();
    else whenSettled(blocked, started, fail);
  } catch (error) {
    fail(error);
  }
}

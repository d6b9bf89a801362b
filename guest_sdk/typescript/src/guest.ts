/** What the component exports: turns the host's calls into calls of the author's handler and actor class.
 *
 *  Each export starts its work and returns; it never waits for it. The work ends through exactly one of
 *  `outcome.respond`, `outcome.return`, `outcome.fail`, `outcome.relay` and `outcome.crash`. An actor is constructed by
 *  the first call that reaches its instance; when that fails there is no actor, and the next call tries again.
 */
import * as outcome from "tenure:edge/outcome@0.1.0";
import { ActorContext, StatefulActor, blockedOn, type AlarmInfo } from "./actor.ts";
import { decode, encode } from "./codec.ts";
import { config, env } from "./env.ts";
import { ActorTypeNotFoundError, CodecError, causeName, crashMessage, describeThrown } from "./errors.ts";
import { findMethod } from "./methods.ts";
import { clearOperations, rejectOperation, resolveOperation, resolveResponse } from "./operations.ts";
import { startServing } from "./phase.ts";
import { gathered, sendableParts } from "./web/body.ts";
import { headerBlock } from "./web/headers.ts";
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
  const exported = module["default"] as Partial<Handler> | undefined;
  if (typeof exported?.fetch === "function") handler = exported as Handler;
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
  return { describe, fetch, invoke, alarm, resolve, resolveResponse: respond, reject };
}

async function describe(): Promise<string> {
  startServing();
  return JSON.stringify({ sdk: SDK, handler: handler !== undefined, actors: [...classes.keys()] });
}

async function fetch(method: string, url: string, headers: string, body: string, binary: boolean): Promise<void> {
  beginCall();
  void serveFetch(Request.fromHost(method, url, headers, body, binary));
}

async function invoke(method: string, args: string): Promise<void> {
  beginCall();
  void serveInvoke(method, args);
}

async function alarm(retryCount: number): Promise<void> {
  beginCall();
  void serveAlarm(retryCount);
}

async function resolve(operation: number, value: string): Promise<void> {
  resolveOperation(operation, value);
}

async function respond(
  operation: number, status: number, headers: string, body: string, binary: boolean,
): Promise<void> {
  resolveResponse(operation, status, headers, body, binary);
}

async function reject(operation: number, name: string, message: string, cause: string): Promise<void> {
  rejectOperation(operation, name, message, cause);
}

function beginCall(): void {
  startServing();
  clearOperations();
  clearTimers();
}

async function serveFetch(request: Request): Promise<void> {
  try {
    const handles = config().actor === null;
    if (!handles && actor === undefined) await activate();
    const target = handles ? requireHandler() : active();
    const response = await (target as Handler).fetch(request, env);
    if (!(response instanceof Response)) throw new TypeError("fetch must return a Response");
    const waiting = gathered(response);
    if (waiting !== undefined) await waiting;
    const { body, binary } = sendableParts(response);
    outcome.respond(response.status, headerBlock(response.headers), body, binary);
  } catch (error) {
    fail(error);
  }
}

async function serveInvoke(name: string, args: string): Promise<void> {
  try {
    if (actor === undefined) await activate();
    const target = active();
    const method = findMethod(target, name);
    const decoded = decode(args);
    if (!Array.isArray(decoded)) throw new CodecError("the arguments of a call must be an array");
    outcome.return(encode(await method.apply(target, decoded)));
  } catch (error) {
    fail(error);
  }
}

async function serveAlarm(retryCount: number): Promise<void> {
  try {
    if (actor === undefined) await activate();
    const target: ActorWithAlarm = active();
    if (typeof target.alarm !== "function") throw new TypeError(`${target.constructor.name} has no alarm method`);
    await target.alarm({ retryCount, isRetry: retryCount > 0 });
    outcome.return("");
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

function requireHandler(): Handler {
  if (handler === undefined) throw new TypeError("the entry module exports no default object with a fetch function");
  return handler;
}

/** The actor that is constructed. Never what a promise resolves to: a class may have a method named `then`. */
function active(): StatefulActor {
  return actor as StatefulActor;
}

/** Constructs the actor and waits for what its constructor blocks on. */
async function activate(): Promise<void> {
  const identity = config().actor;
  if (identity === null) throw new TypeError("this instance runs the handler: it has no methods and no alarm");
  const constructor = classes.get(identity.type);
  if (constructor === undefined) throw new ActorTypeNotFoundError(`the entry module exports no class ${identity.type}`);
  const context = new ActorContext(identity.name);
  const made = new constructor(context, env);
  const blocked = blockedOn(context);
  if (blocked !== undefined) await blocked;
  actor = made;
  outcome.ready();
}

/** The module `@tenure/edge-runtime`, also known as `@telnyx/edge-runtime`. Its types for authors are in index.d.ts. */
export { StatefulActor } from "./actor.ts";
export { env } from "./env.ts";
export {
  ActorCrashedError, ActorDeadlockError, ActorError, ActorFetchTimeoutError, ActorMethodError,
  ActorMethodTimeoutError, ActorOutputGateError, ActorOverloadedError, ActorPrivateMethodError,
  ActorTypeNotFoundError, ActorUnknownMethodError, BlockConcurrencyTimeoutError, CodecError, QuotaExceededError,
} from "./errors.ts";

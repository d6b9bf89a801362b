/** Which properties of an actor a stub may call: the methods of its own classes, and nothing else.
 *
 *  Only functions defined as methods on a class between the actor's own and StatefulActor count. Properties of the
 *  instance, getters, and everything of the base classes are unknown to callers: nothing becomes callable by accident.
 */
import { StatefulActor } from "./actor.ts";
import { ActorPrivateMethodError, ActorUnknownMethodError } from "./errors.ts";

type Method = (...args: unknown[]) => unknown;

const { getPrototypeOf, getOwnPropertyDescriptor, getOwnPropertyNames } = Object;

const NEVER_CALLABLE = new Set([
  "fetch", "alarm", "webSocket", "constructor", "__proto__",
  ...getOwnPropertyNames(Object.prototype),
  ...getOwnPropertyNames(StatefulActor.prototype),
]);

const found = new Map<string, Method>();

/** The method `name` of the one actor of this instance. Raises the error that its caller shall see. */
export function findMethod(actor: StatefulActor, name: string): Method {
  const known = found.get(name);
  if (known !== undefined) return known;
  const type = actor.constructor.name;
  if (NEVER_CALLABLE.has(name)) throw new ActorUnknownMethodError(`${type} has no method ${JSON.stringify(name)}`);
  if (name.startsWith("_")) {
    throw new ActorPrivateMethodError(`${type}.${name} is private: a name that begins with _ cannot be called`);
  }
  let prototype: object | null = getPrototypeOf(actor);
  while (prototype !== null && prototype !== StatefulActor.prototype) {
    const descriptor = getOwnPropertyDescriptor(prototype, name);
    if (descriptor !== undefined) {
      if (typeof descriptor.value !== "function") break;
      found.set(name, descriptor.value);
      return descriptor.value;
    }
    prototype = getPrototypeOf(prototype);
  }
  throw new ActorUnknownMethodError(`${type} has no method ${JSON.stringify(name)}`);
}

/** `env`: what the manifest gives to the function, one object for the handler, the actors and the module's export.
 *
 *  It is filled when the instance serves its first call, because the host's configuration is not known while the module
 *  is being built.
 */
import { get as readConfig } from "tenure:edge/config@0.1.0";
import { ActorNamespace } from "./namespace.ts";

export interface Config {
  readonly function: string;
  readonly actor: { readonly type: string; readonly name: string } | null;
  readonly actors: readonly { readonly binding: string; readonly type: string }[];
  readonly vars: Readonly<Record<string, string>>;
  readonly secrets: Readonly<Record<string, string>>;
}

const { keys, defineProperty } = Object;
const { parse } = JSON;

/** Secrets by their binding. Asynchronous, so that where they are kept may change. */
class Secrets {
  readonly #values: Map<string, string>;

  constructor(values: Readonly<Record<string, string>>) {
    this.#values = new Map(Object.entries(values));
  }

  /** The secret's text, or undefined when the manifest names no such secret. */
  async get(binding: string): Promise<string | undefined> {
    return this.#values.get(binding);
  }
}

export const env: Record<string, unknown> = {};

let loaded: Config | undefined;

/** The instance's configuration, read once; the first call fills `env`. */
export function config(): Config {
  if (loaded !== undefined) return loaded;
  const read = parse(readConfig()) as Config;
  for (const name of keys(read.vars)) set(name, read.vars[name]);
  for (const { binding } of read.actors) set(binding, new ActorNamespace(binding));
  if (!("SECRETS" in env)) set("SECRETS", new Secrets(read.secrets));
  return (loaded = read);
}

function set(name: string, value: unknown): void {
  defineProperty(env, name, { value, enumerable: true, configurable: true, writable: true });
}

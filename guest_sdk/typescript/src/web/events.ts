/** Event and EventTarget, as much of them as a guest without a document needs. */
export interface EventInit {
  bubbles?: boolean;
  cancelable?: boolean;
  composed?: boolean;
}

export class Event {
  readonly type: string;
  readonly bubbles: boolean;
  readonly cancelable: boolean;
  target: EventTarget | null = null;
  #prevented = false;
  #stopped = false;

  constructor(type: string, { bubbles = false, cancelable = false }: EventInit = {}) {
    this.type = String(type);
    this.bubbles = bubbles;
    this.cancelable = cancelable;
  }

  get currentTarget(): EventTarget | null {
    return this.target;
  }

  get defaultPrevented(): boolean {
    return this.#prevented;
  }

  get immediatePropagationStopped(): boolean {
    return this.#stopped;
  }

  preventDefault(): void {
    if (this.cancelable) this.#prevented = true;
  }

  stopPropagation(): void {}

  stopImmediatePropagation(): void {
    this.#stopped = true;
  }
}

type Listener = ((event: Event) => unknown) | { handleEvent(event: Event): unknown };

interface Registration {
  readonly listener: Listener;
  readonly once: boolean;
}

export interface ListenerOptions {
  once?: boolean;
  signal?: EventTarget & { readonly aborted: boolean };
}

export class EventTarget {
  readonly #listeners = new Map<string, Registration[]>();

  addEventListener(type: string, listener: Listener | null, options?: boolean | ListenerOptions): void {
    if (listener === null || listener === undefined) return;
    const { once = false, signal } = typeof options === "object" && options !== null ? options : {};
    if (signal?.aborted) return;
    const present = this.#listeners.get(type) ?? [];
    if (present.some((one) => one.listener === listener)) return;
    this.#listeners.set(type, [...present, { listener, once }]);
    signal?.addEventListener("abort", () => this.removeEventListener(type, listener), { once: true });
  }

  removeEventListener(type: string, listener: Listener | null): void {
    const present = this.#listeners.get(type);
    if (present !== undefined) this.#listeners.set(type, present.filter((one) => one.listener !== listener));
  }

  /** Runs the listeners in the order they were added; what one throws is logged by nobody and stops no other. */
  dispatchEvent(event: Event): boolean {
    event.target = this;
    for (const registration of this.#listeners.get(event.type) ?? []) {
      if (registration.once) this.removeEventListener(event.type, registration.listener);
      const { listener } = registration;
      try {
        if (typeof listener === "function") listener.call(this, event);
        else listener.handleEvent(event);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
      if (event.immediatePropagationStopped) break;
    }
    return !event.defaultPrevented;
  }
}

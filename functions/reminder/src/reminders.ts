import { StatefulActor } from "@tenure/edge-runtime";

export interface Reminder {
  readonly id: number;
  readonly text: string;
  readonly at: Date;
}

export interface Done extends Reminder {
  readonly firedAt: Date;
}

export interface Overview {
  /** Those to come, next one first. */
  readonly pending: Reminder[];
  /** Those that fired, last one first. */
  readonly done: Done[];
  /** How many ever fired. */
  readonly fired: number;
}

/** How many reminders may wait, and how many that fired are kept. */
export const PENDING_MAX = 100;
const DONE_MAX = 100;

const PENDING = "pending:";
const DONE = "done:";

/** Keys are ordered as text, so numbers are padded to one length. */
function padded(number: number): string {
  return String(number).padStart(15, "0");
}

/** First by time, so that the first key is the next reminder; then by id, because two may have one time. */
function pendingKey(at: Date, id: number): string {
  return `${PENDING}${padded(at.getTime())}:${padded(id)}`;
}

/**
 * The reminders of one person. An actor has one alarm, so it is always set to the next reminder, and set again when that
 * one has fired or a sooner one comes. It is kept with the data: a restart of the host loses neither.
 */
export class Reminders extends StatefulActor {
  /** Undefined when too many are waiting already. */
  async add(text: string, at: Date): Promise<Reminder | undefined> {
    const pending = await this.ctx.storage.list({ prefix: PENDING, limit: PENDING_MAX });
    if (pending.size === PENDING_MAX) return undefined;
    const id = ((await this.ctx.storage.get<number>("lastId")) ?? 0) + 1;
    const reminder: Reminder = { id, text, at };
    await this.ctx.storage.put({ lastId: id, [pendingKey(at, id)]: reminder });
    await this.#arm();
    return reminder;
  }

  async overview(): Promise<Overview> {
    const pending = await this.ctx.storage.list<Reminder>({ prefix: PENDING, limit: PENDING_MAX });
    const done = await this.ctx.storage.list<Done>({ prefix: DONE, reverse: true, limit: DONE_MAX });
    const fired = (await this.ctx.storage.get<number>("fired")) ?? 0;
    return { pending: [...pending.values()], done: [...done.values()], fired };
  }

  /**
   * Fires all that are due. A failing alarm is tried again, but what it wrote is dropped as a whole: a reminder cannot
   * be counted twice. Something sent to the outside from here, such as a mail, could be sent twice.
   */
  override async alarm(): Promise<void> {
    const firedAt = new Date();
    // an end is not included itself, and what is due in this very millisecond has to be
    const end = PENDING + padded(firedAt.getTime() + 1);
    const due = await this.ctx.storage.list<Reminder>({ prefix: PENDING, end, limit: PENDING_MAX });
    let fired = (await this.ctx.storage.get<number>("fired")) ?? 0;
    for (const [key, reminder] of due) {
      console.log(`reminder for ${this.ctx.id}: ${reminder.text}`);
      fired += 1;
      await this.ctx.storage.delete(key);
      await this.ctx.storage.put<Done>(DONE + padded(fired), { ...reminder, firedAt });
      if (fired > DONE_MAX) await this.ctx.storage.delete(DONE + padded(fired - DONE_MAX));
    }
    await this.ctx.storage.put("fired", fired);
    await this.#arm();
  }

  /** Sets the alarm to the next reminder, if there is one. */
  async #arm(): Promise<void> {
    const [next] = (await this.ctx.storage.list<Reminder>({ prefix: PENDING, limit: 1 })).values();
    if (next !== undefined) await this.ctx.setAlarm(next.at);
  }
}

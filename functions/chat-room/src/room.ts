import { StatefulActor } from "@tenure/edge-runtime";

export interface Message {
  /** 1, 2, 3 and so on in each room, with no gaps: also the cursor to read on from. */
  readonly id: number;
  readonly author: string;
  readonly text: string;
  readonly at: Date;
}

/** How many messages a room keeps; each new one pushes the oldest out. */
export const HISTORY_MAX = 200;

const PREFIX = "message:";

/** Keys are ordered as text, so numbers are padded to one length: "message:0000000009" is before "...10". */
function keyOf(id: number): string {
  return PREFIX + String(id).padStart(10, "0");
}

/** The log of one room. */
export class Room extends StatefulActor {
  /** Appends a message. Calls run one at a time, so no two messages get the same id. */
  async post(author: string, text: string): Promise<Message> {
    const id = ((await this.ctx.storage.get<number>("last")) ?? 0) + 1;
    const message: Message = { id, author, text, at: new Date() };
    await this.ctx.storage.put({ last: id, [keyOf(id)]: message });
    // ids have no gaps, so the one that is too old is known without looking for it
    if (id > HISTORY_MAX) await this.ctx.storage.delete(keyOf(id - HISTORY_MAX));
    return message;
  }

  /** Up to `limit` messages after the one with the id `cursor`, oldest first. */
  async after(cursor: number, limit: number): Promise<Message[]> {
    const page = await this.ctx.storage.list<Message>({ prefix: PREFIX, startAfter: keyOf(cursor), limit });
    return [...page.values()];
  }

  /** The last `limit` messages, oldest first. */
  async latest(limit: number): Promise<Message[]> {
    const page = await this.ctx.storage.list<Message>({ prefix: PREFIX, reverse: true, limit });
    return [...page.values()].reverse();
  }
}

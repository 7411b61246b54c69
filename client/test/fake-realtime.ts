/** A connection without a server, for what stands on one. */

import { concerns, toKey } from '../src/keys';
import type { ChannelHandlers, ChannelOptions, KeyLike, Message, Realtime, Stale, Status } from '../src/types';

type Listener = (stale: Stale) => void;

export interface Followed {
  readonly name: string;
  readonly handlers: ChannelHandlers<Message>;
  readonly options: ChannelOptions | undefined;
}

export function fakeRealtime() {
  const listeners = new Set<Listener>();
  const watchers = new Set<() => void>();
  const followed = new Set<Followed>();
  let status: Status = { state: 'connecting' };

  const realtime = {
    onRevalidate(...given: [KeyLike, Listener] | [Listener]) {
      const [key, listener] = given.length === 2 ? [toKey(given[0]), given[1]] : [undefined, given[0]];
      const heard: Listener = (stale) => {
        if (!key || stale.keys.some((one) => concerns(one, key))) listener(stale);
      };
      listeners.add(heard);
      return () => void listeners.delete(heard);
    },
    channel(name: string, handlers: ChannelHandlers<Message>, options?: ChannelOptions) {
      const one = { name, handlers, options };
      followed.add(one);
      return () => void followed.delete(one);
    },
    status: {
      getSnapshot: () => status,
      subscribe(watcher: () => void) {
        watchers.add(watcher);
        return () => void watchers.delete(watcher);
      },
    },
  } as unknown as Realtime;

  return {
    realtime,
    followed,
    /** The server says that these are stale. */
    stale(...keys: KeyLike[]) {
      for (const listener of listeners) listener({ keys: keys.map(toKey), own: false });
    },
    /** It is not known what changed. */
    gap(gap: string) {
      for (const listener of listeners) listener({ keys: [[]], own: false, gap });
    },
    become(state: Status['state']) {
      status = { state };
      for (const watcher of watchers) watcher();
    },
    listening: () => listeners.size + watchers.size + followed.size,
  };
}

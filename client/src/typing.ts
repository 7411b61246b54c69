/** Who is typing, and that one types oneself. */

import type { Emit } from './emit';
import { sharedStores } from './shared-store';
import type { ChannelHandlers, Realtime, Typist, Unsubscribe } from './types';

/** How often the server is told that it goes on. It forgets after 5 s. */
const AGAIN_MS = 2_000;
/** Who stops without a word has stopped. */
const IDLE_MS = 4_000;
/** Of others, where no end was heard: a second after the server's. */
const EXPIRES_MS = 6_000;

type Timer = ReturnType<typeof setTimeout> | undefined;

export const createTyping = (
  follow: (name: string, handlers: ChannelHandlers<any>) => Unsubscribe,
  emit: Emit,
  lingerMs: number,
  log: (...what: unknown[]) => void,
): Realtime['typing'] => {
  const stores = sharedStores<readonly Typist[]>([], lingerMs, (name, store) => {
    const timers = new Map<string, Timer>();
    const end = (userId: string) => {
      clearTimeout(timers.get(userId));
      if (timers.delete(userId)) store.set(store.getSnapshot().filter((typist) => typist.userId !== userId));
    };
    const off = follow(name, {
      onMessage({ event, data }) {
        if (event !== 'typing') return;
        const { userId, userName, isTyping } = data;
        if (!isTyping) return end(userId);
        const timer = timers.get(userId);
        clearTimeout(timer);
        timers.set(userId, setTimeout(() => end(userId), EXPIRES_MS));
        if (!timer) store.set([...store.getSnapshot(), { userId, userName }]);
      },
    });
    return () => {
      off();
      timers.forEach((timer) => clearTimeout(timer));
    };
  });

  const own = new Map<string, ReturnType<typeof typist>>();

  const typist = (name: string) => {
    let isTyping = false;
    /** What the server was not told yet. One request at a time: of two, the later may be the first. */
    let due = false;
    let busy = false;
    /** It was said lately, and again since. */
    let lately: Timer;
    let again = false;
    let idle: Timer;

    // Also of a page that is on its way out.
    const post = () =>
      emit(name, 'typing', { isTyping }, { keepalive: true }).catch((error: unknown) => log('typing', error));
    const tell = async () => {
      due = true;
      if (busy) return;
      busy = true;
      while (due) {
        due = false;
        await post();
      }
      busy = false;
      if (!isTyping) own.delete(name);
    };
    const repeat = () => {
      again = false;
      lately = setTimeout(() => {
        lately = undefined;
        if (again) repeat();
      }, AGAIN_MS);
      void tell();
    };
    const end = () => {
      isTyping = again = false;
      clearTimeout(idle);
      clearTimeout(lately);
      lately = undefined;
      globalThis.removeEventListener?.('pagehide', leave);
    };
    const stop = () => {
      if (!isTyping) return;
      end();
      void tell();
    };
    const leave = () => {
      end();
      void post();
      if (!busy) own.delete(name);
    };
    return {
      start() {
        clearTimeout(idle);
        idle = setTimeout(stop, IDLE_MS);
        if (!isTyping) globalThis.addEventListener?.('pagehide', leave);
        isTyping = again = true;
        if (!lately) repeat();
      },
      stop,
    };
  };

  return (name) => ({
    ...stores(name),
    start() {
      if (!own.has(name)) own.set(name, typist(name));
      own.get(name)!.start();
    },
    stop: () => own.get(name)?.stop(),
  });
};

// What a page was promised, and what it heard. It knows what was published and when, and objects at once.

/** For what a client tells in its next turn. */
const TURN_MS = 30;

/** `told` of `{ life, sent }`: which life of the server this is, and how many messages each channel has had in it. */
export function checker(told, object) {
  return {
    /**
     * One subscription. `from`: what had been published up to the cursor that it begins at, if it has one:
     * `{ life, sent }`.
     */
    subscription(name, channel, from) {
      let connected;
      let next;
      let ended = false;
      // Whether a gap came after the last message; and whether messages are missing that no gap has come for.
      let covered = false;
      let hole;
      const history = [];
      const complain = (what) => object(`${name} on ${channel}: ${what}; it heard ${history.slice(-12).join(' ')}`);

      const missing = (what) => {
        if (covered) return;
        hole = what;
        // The client tells of a gap in its next turn, after the messages that came with it.
        setTimeout(() => !ended && hole === what && complain(what), TURN_MS);
      };

      return {
        onConnect({ resumed }) {
          history.push(resumed ? 'resumed' : 'connected');
          if (ended) complain('connected after its end');
          if (connected) complain('connected twice');
          const { life, sent } = told();
          connected = true;
          if (resumed && !from) complain('resumed from nowhere');
          // It may begin earlier: others in the same page may have asked for that.
          next = resumed ? { life: from.life, n: from.sent(channel) + 1 } : { life, n: sent(channel) + 1 };
          next.atMost = true;
        },
        onMessage({ data: n, id }) {
          const life = id?.split('-')[0];
          history.push(`${life}/${n}`);
          if (ended) complain(`${n} after its end`);
          if (!connected) complain(`${n} before it was connected`);
          else if (life !== next.life) {
            // Of the life before, as the bytes were on their way.
            if (!told().before(life, next.life)) missing(`another life of the server, and no gap`);
          } else if (n < next.n && !next.atMost) complain(`${n} again, or too late`);
          else if (n > next.n) missing(`${n} where ${next.n} was due`);
          next = { life, n: n + 1 };
          covered = false;
        },
        onGap({ reason }) {
          history.push(`gap(${reason})`);
          if (ended) complain('a gap after its end');
          if (hole) hole = undefined;
          else covered = true;
        },
        onError: ({ code }) => complain(`denied: ${code}`),
        end: () => void (ended = true),
        /** Whether it has all; else what it lacks. */
        lacks() {
          const { life, sent } = told();
          if (!connected) return `${name} on ${channel} is not connected`;
          if (hole) return `${name} on ${channel} has a hole: ${hole}`;
          if (covered) return undefined;
          if (next.life === life && next.n > sent(channel)) return undefined;
          return `${name} on ${channel} has all below ${next.life}/${next.n} of ${life}/${sent(channel)}; ${history.slice(-12).join(' ')}`;
        },
      };
    },

    /** One who listens for a key, and holds what was read of it at `since`. */
    listener(name, key, since) {
      let heardAt = -Infinity;
      let ended = false;
      return {
        hear({ keys, gap }) {
          if (ended) object(`${name} heard of ${key} after its end`);
          const concerned = keys.some((one) => one.every((segment, index) => segment === ['counter', key][index]));
          if (!concerned) object(`${name} heard of ${JSON.stringify(keys)}, ${gap}, and listens for ${key}`);
          heardAt = performance.now();
        },
        end: () => void (ended = true),
        lacks() {
          const changedAt = told().changedAt(key);
          return changedAt > since && heardAt < changedAt ? `${name} did not hear that ${key} changed` : undefined;
        },
      };
    },
  };
}

import { useEffect, useState } from 'react';
import type { Status } from 'tower-revalidate';
import { useRealtime, useRealtimeStatus } from 'tower-revalidate/react';

const WORDS: Record<Status['state'], string> = {
  idle: 'Not connected',
  connecting: 'Connecting …',
  open: 'Live',
  degraded: 'Connected, but the server is behind',
  waiting: 'Connection lost',
  paused: 'Offline',
  closed: 'Disconnected',
};

/** Where the connection stands, and a switch to cut it: what others write meanwhile is there when it is back. */
export function Connection() {
  const { connect, disconnect } = useRealtime();
  const { state, reason, retryAt } = useRealtimeStatus();
  const plugged = state !== 'closed';
  return (
    <section className="connection" aria-label="Connection">
      <p className="badge" data-state={state} title={reason}>
        <span role="status">{WORDS[state]}</span>
        {retryAt !== undefined && <Countdown to={retryAt} />}
      </p>
      <label className="switch">
        <input type="checkbox" role="switch" checked={plugged} onChange={plugged ? disconnect : connect} />
        Plugged in
      </label>
    </section>
  );
}

/** Not in the live region: a screen reader would read out every second. */
function Countdown({ to }: { to: number }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 250);
    return () => clearInterval(timer);
  }, []);
  return <small>next attempt in {Math.max(0, Math.ceil((to - now) / 1000))} s</small>;
}

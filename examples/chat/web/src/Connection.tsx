import { useEffect, useState } from 'react';
import type { Status } from 'tower-revalidate';
import { useRealtimeStatus } from './live';

const WORDS: Record<Status['state'], string> = {
  idle: 'Not connected',
  connecting: 'Connecting …',
  open: 'Live',
  degraded: 'Connected, but the server is behind',
  waiting: 'Connection lost',
  paused: 'Offline',
  closed: 'Disconnected',
};

/** Where the connection stands. */
export function Connection() {
  const { state, reason, retryAt } = useRealtimeStatus();
  return (
    <p className="connection" data-state={state} title={reason}>
      <span role="status">{WORDS[state]}</span>
      {retryAt !== undefined && <Countdown to={retryAt} />}
    </p>
  );
}

/** Not in the live region: a screen reader would read out every second. */
function Countdown({ to }: { to: number }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 250);
    return () => clearInterval(timer);
  }, []);
  return <small>again in {Math.max(0, Math.ceil((to - now) / 1000))} s</small>;
}

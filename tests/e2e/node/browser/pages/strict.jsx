// React's StrictMode mounts each component twice, and with it each subscription.

import { createRealtime } from '/realtime/client.js';
import { StrictMode, useCallback, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { RealtimeProvider, useChannel, useRealtimeStatus, useRevalidate } from 'tower-revalidate/react';

const realtime = createRealtime({ identity: 'u' });
window.mounts = 0;

function Counter() {
  const [value, setValue] = useState();
  const [messages, setMessages] = useState([]);
  const { state } = useRealtimeStatus();
  const load = useCallback(async () => setValue(await (await realtime.fetch('/value/a')).json()), []);
  useEffect(() => {
    window.mounts += 1;
    load();
  }, [load]);
  useRevalidate(['counter', 'a'], load);
  useChannel('news:x', { onMessage: ({ data }) => setMessages((before) => [...before, data]) });
  return <output>{JSON.stringify({ state, value, messages })}</output>;
}

createRoot(document.getElementById('root')).render(
  <StrictMode>
    <RealtimeProvider realtime={realtime}>
      <Counter />
    </RealtimeProvider>
  </StrictMode>,
);
window.ready = true;

// Who is in a room and who is typing there, by React's hooks. `?` in the address says who one is.

import { createRealtime } from '/realtime/client.js';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { RealtimeProvider, usePresence, useTyping } from 'tower-revalidate/react';

const { token } = JSON.parse(decodeURIComponent(location.search.slice(1)));
const realtime = createRealtime({ identity: token, headers: () => ({ authorization: `Bearer ${token}` }) });

function Room() {
  const { users, count, ready, update } = usePresence('room:1');
  const { typists, start, stop } = useTyping('room:1:typing');
  window.room = { update, start, stop };
  const names = users.map(({ userId, info, meta }) => `${userId} (${info.name})${meta ? `: ${meta.mood}` : ''}`);
  return <output>{JSON.stringify({ ready, count, names, typing: typists.map(({ userName }) => userName) })}</output>;
}

createRoot(document.getElementById('root')).render(
  <StrictMode>
    <RealtimeProvider realtime={realtime}>
      <Room />
    </RealtimeProvider>
  </StrictMode>,
);
window.ready = true;

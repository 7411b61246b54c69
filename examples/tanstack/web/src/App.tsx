import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { useCallback, useEffect, useState } from 'react';
import { createRealtime } from 'tower-revalidate';
import { RealtimeProvider, useRevalidate } from 'tower-revalidate/react';
import { bindQueryClient } from 'tower-revalidate/tanstack';
import { ask, type User } from './api';
import { Connection } from './Connection';
import { Posts } from './Posts';

const USERS: User[] = ['alice', 'bob'];

/** Who is signed in is asked anew when the page is seen again: another tab may have signed in as somebody else. */
export function App() {
  const [user, setUser] = useState<User | null>();
  const look = useCallback(async () => {
    const answer = await ask<{ user: User | null }>(fetch, '/session').catch(() => undefined);
    if (answer) setUser(answer.user);
  }, []);
  useEffect(() => {
    void look();
    document.addEventListener('visibilitychange', look);
    return () => document.removeEventListener('visibilitychange', look);
  }, [look]);

  async function signIn(user: User) {
    await ask(fetch, '/session', { method: 'PUT', body: JSON.stringify({ user }) });
    await look();
  }

  return (
    <>
      <header>
        <h1>Posts, live</h1>
        <fieldset className="users">
          <legend>You are</legend>
          {USERS.map((name) => (
            <button key={name} type="button" aria-pressed={name === user} onClick={() => signIn(name)}>
              {name}
            </button>
          ))}
        </fieldset>
      </header>
      <main>
        {user && <SignedIn key={user} user={user} onSession={look} />}
        {user === null && <p className="quiet">Choose who you are. In a private window you can be the other one, too.</p>}
      </main>
    </>
  );
}

/** Each user has a cache and a connection of their own: nothing of alice's is left when bob signs in. */
function SignedIn({ user, onSession }: { user: User; onSession: () => void }) {
  const [realtime] = useState(() => createRealtime({ identity: user }));
  const [queryClient] = useState(() => new QueryClient());
  useEffect(() => bindQueryClient(realtime, queryClient), [realtime, queryClient]);

  return (
    <RealtimeProvider realtime={realtime}>
      <QueryClientProvider client={queryClient}>
        <SessionWatch onSession={onSession} />
        <Connection />
        <Posts user={user} />
      </QueryClientProvider>
    </RealtimeProvider>
  );
}

/** Somebody signed in as another user in a tab of this browser, and so in this one. */
function SessionWatch({ onSession }: { onSession: () => void }) {
  useRevalidate('session', onSession);
  return null;
}

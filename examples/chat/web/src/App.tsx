import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { useCallback, useEffect, useState } from 'react';
import { createRealtime } from 'tower-revalidate';
import { bindQueryClient } from 'tower-revalidate/tanstack';
import { ask, type User } from './api';
import { Deck } from './Deck';
import { RealtimeProvider, type Channels } from './live';
import { SignIn } from './SignIn';

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

  if (user === undefined) return null;
  if (user === null) return <SignIn onSession={setUser} />;
  return <SignedIn key={user.id} user={user} onSession={look} />;
}

/** Each user has a cache and a connection of their own: nothing of alice's is left when bob signs in. */
function SignedIn({ user, onSession }: { user: User; onSession: () => void }) {
  const [realtime] = useState(() =>
    createRealtime<Channels>({
      identity: user.id,
      // Signed out, in whichever tab or browser: the page asks who it is now.
      onUnauthorized() {
        onSession();
        return false;
      },
    }),
  );
  const [queryClient] = useState(() => new QueryClient());
  useEffect(() => bindQueryClient(realtime, queryClient), [realtime, queryClient]);
  // For as long as this user is here.
  useEffect(() => {
    realtime.connect();
    return realtime.disconnect;
  }, [realtime]);

  return (
    <RealtimeProvider realtime={realtime}>
      <QueryClientProvider client={queryClient}>
        <Deck user={user} onSession={onSession} />
      </QueryClientProvider>
    </RealtimeProvider>
  );
}

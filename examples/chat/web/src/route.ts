/** Where one is, in the address: the browser's back button and a reload do what one expects. */

import { useSyncExternalStore } from 'react';

export type Route = { page: 'home' | 'instruments' | 'notices' } | { page: 'room'; room: number };

export const href = (route: Route) => (route.page === 'room' ? `#/rooms/${route.room}` : `#/${route.page}`);

export function useRoute(): Route {
  const hash = useSyncExternalStore(
    (changed) => {
      window.addEventListener('hashchange', changed);
      return () => window.removeEventListener('hashchange', changed);
    },
    () => window.location.hash,
  );
  const room = /^#\/rooms\/(\d+)$/.exec(hash)?.[1];
  if (room) return { page: 'room', room: Number(room) };
  if (hash === '#/instruments') return { page: 'instruments' };
  return { page: hash === '#/notices' ? 'notices' : 'home' };
}

export function useMedia(query: string): boolean {
  return useSyncExternalStore(
    (changed) => {
      const media = window.matchMedia(query);
      media.addEventListener('change', changed);
      return () => media.removeEventListener('change', changed);
    },
    () => window.matchMedia(query).matches,
  );
}

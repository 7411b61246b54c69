import { useEffect } from 'react';
import type { User } from './api';
import { Connection } from './Connection';
import { useFeed } from './feed';
import { Instruments } from './Instruments';
import { Notices } from './Notices';
import { useRooms } from './queries';
import { Rail } from './Rail';
import { Room } from './Room';
import { href, useMedia, useRoute } from './route';

/** What one sees when one is signed in: the rail, and a page beside it. On a small screen one of the two. */
export function Deck({ user, onSession }: { user: User; onSession: () => void }) {
  const route = useRoute();
  const rooms = useRooms();
  const notices = useFeed(onSession);
  const isWide = useMedia('(min-width: 48rem)');
  const first = rooms.data?.[0]?.id;
  useEffect(() => {
    if (isWide && route.page === 'home' && first) window.location.replace(href({ page: 'room', room: first }));
  }, [isWide, route.page, first]);

  const unread = (rooms.data ?? []).reduce((sum, room) => sum + room.unread, 0) + notices.length;
  useEffect(() => {
    document.title = unread ? `(${unread}) Halyard` : 'Halyard';
  }, [unread]);

  const room = route.page === 'room' ? rooms.data?.find(({ id }) => id === route.room) : undefined;
  return (
    <div className="deck" data-page={route.page}>
      {(isWide || route.page === 'home') && (
        <Rail user={user} route={route} rooms={rooms.data} notices={notices.length} onSession={onSession} />
      )}
      {(isWide || route.page !== 'home') && (
        <main className="page">
          {!isWide && <Connection />}
          {room && <Room key={room.id} room={room} user={user} />}
          {route.page === 'room' && rooms.data && !room && <NoRoom />}
          {route.page === 'instruments' && <Instruments user={user} />}
          {route.page === 'notices' && <Notices notices={notices} rooms={rooms.data ?? []} />}
        </main>
      )}
    </div>
  );
}

const NoRoom = () => (
  <div className="empty">
    <h1>Not a member of this room</h1>
    <p className="quiet">Somebody who is one can bring you in, under Crew.</p>
    <p>
      <a href={href({ page: 'home' })}>To your rooms</a>
    </p>
  </div>
);

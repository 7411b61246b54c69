import { useState, type FormEvent } from 'react';
import type { RoomLine, User } from './api';
import { Connection } from './Connection';
import { Flag, Mark } from './Flag';
import { useChange, useNames } from './queries';
import { href, type Route } from './route';
import { timeOf } from './times';

interface RailProps {
  user: User;
  route: Route;
  rooms: RoomLine[] | undefined;
  notices: number;
  onSession: () => void;
}

export function Rail({ user, route, rooms, notices, onSession }: RailProps) {
  const leave = useChange((_: void) => ['DELETE', '/session']);
  const at = (page: Route['page']) => (route.page === page ? ('page' as const) : undefined);
  return (
    <div className="rail">
      <header>
        <p className="brand">
          <Mark /> Halyard
        </p>
        <Connection />
      </header>
      <nav aria-label="Rooms">
        <h2>Rooms</h2>
        <ul className="rooms">
          {rooms?.map((room) => (
            <RoomLink key={room.id} room={room} me={user.id} here={route.page === 'room' && route.room === room.id} />
          ))}
        </ul>
        <NewRoom />
      </nav>
      <nav className="more" aria-label="Ship">
        <a href={href({ page: 'notices' })} aria-current={at('notices')}>
          Notices <Badge count={notices} of="unread notices" />
        </a>
        <a href={href({ page: 'instruments' })} aria-current={at('instruments')}>
          Instruments
        </a>
      </nav>
      <footer>
        <Flag of={user.id} />
        <p>
          <strong>{user.name}</strong>
          <small>{user.roles.length ? user.roles.join(', ') : 'crew'}</small>
        </p>
        <button type="button" disabled={leave.isPending} onClick={() => leave.mutate(undefined, { onSettled: onSession })}>
          Sign out
        </button>
      </footer>
    </div>
  );
}

function RoomLink({ room, me, here }: { room: RoomLine; me: string; here: boolean }) {
  const name = useNames();
  const { last } = room;
  return (
    <li>
      <a href={href({ page: 'room', room: room.id })} aria-current={here ? 'page' : undefined}>
        <span className="room-name">{room.name}</span>
        {last && <time dateTime={new Date(last.createdAt).toISOString()}>{timeOf(last.createdAt)}</time>}
        <span className="room-last">
          {last ? `${last.sender === me ? 'You' : name(last.sender)}: ${last.content}` : 'Nothing said yet'}
        </span>
        <Badge count={room.unread} of="unread" />
      </a>
    </li>
  );
}

function Badge({ count, of }: { count: number; of: string }) {
  if (!count) return null;
  return (
    <span className="badge">
      {count > 99 ? '99+' : count}
      <span className="hidden"> {of}</span>
    </span>
  );
}

function NewRoom() {
  const [isOpen, setOpen] = useState(false);
  const create = useChange<{ name: string }, RoomLine>((room) => ['POST', '/rooms', room]);

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const name = String(new FormData(event.currentTarget).get('name')).trim();
    if (!name) return;
    create.mutate(
      { name },
      {
        onSuccess(room) {
          setOpen(false);
          window.location.hash = href({ page: 'room', room: room.id });
        },
      },
    );
  }

  if (!isOpen) {
    return (
      <button type="button" className="new-room" onClick={() => setOpen(true)}>
        New room
      </button>
    );
  }
  return (
    <form className="new-room" onSubmit={submit} onKeyDown={({ key }) => key === 'Escape' && setOpen(false)}>
      <label htmlFor="new-room">Name of the room</label>
      <input id="new-room" name="name" maxLength={40} autoComplete="off" autoFocus required />
      <div className="row">
        <button disabled={create.isPending}>Open it</button>
        <button type="button" onClick={() => setOpen(false)}>
          Cancel
        </button>
      </div>
      <p role="alert">{create.error?.message}</p>
    </form>
  );
}

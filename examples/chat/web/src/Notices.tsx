import type { Notification, RoomLine } from './api';
import { Back } from './Back';
import { useChange } from './queries';
import { href } from './route';
import { dayOf, timeOf } from './times';

/** What is for oneself. */
export function Notices({ notices, rooms }: { notices: Notification[]; rooms: RoomLine[] }) {
  const read = useChange((_: void) => ['POST', '/notifications/read']);
  return (
    <div className="sheet-page">
      <header>
        <Back />
        <h1>Notices</h1>
        {notices.length > 0 && (
          <button type="button" disabled={read.isPending} onClick={() => read.mutate()}>
            Mark all as read
          </button>
        )}
      </header>
      {notices.length === 0 && (
        <p className="empty quiet">Nothing that you have not read. Whoever writes your name with an @ is told here.</p>
      )}
      <ol className="notices">
        {notices.map(({ id, type, title, body, data, createdAt }) => {
          const room = rooms.find((room) => room.id === data.room);
          return (
            <li key={id} data-type={type}>
              <p className="notice-head">
                <strong>{title}</strong>
                <time dateTime={new Date(createdAt).toISOString()}>
                  {dayOf(createdAt)} {timeOf(createdAt)}
                </time>
              </p>
              <p>{body}</p>
              {room && <a href={href({ page: 'room', room: room.id })}>Go to {room.name}</a>}
            </li>
          );
        })}
      </ol>
      <p role="alert">{read.error?.message}</p>
    </div>
  );
}

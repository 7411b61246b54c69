import type { FormEvent } from 'react';
import type { RoomLine, User } from './api';
import { Flag } from './Flag';
import { useChange, usePeople } from './queries';

interface CrewProps {
  room: RoomLine;
  user: User;
  present: Set<string>;
}

/** Who is a member of the room, and who is there. */
export function Crew({ room, user, present }: CrewProps) {
  const people = usePeople().data ?? [];
  const members = new Set(room.members.map(({ id }) => id));
  const others = people.filter(({ id }) => !members.has(id));
  const add = useChange((id: string) => ['PUT', `/rooms/${room.id}/members/${id}`]);
  const remove = useChange((id: string) => ['DELETE', `/rooms/${room.id}/members/${id}`]);

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    add.mutate(String(new FormData(event.currentTarget).get('user')));
  }

  return (
    <div className="crew">
      <h2>Crew</h2>
      <ul>
        {room.members.map(({ id, name }) => (
          <li key={id}>
            <Flag of={id} />
            <p>
              <strong>{name}</strong>
              <small data-present={present.has(id)}>{present.has(id) ? 'here now' : 'not here'}</small>
            </p>
            {(id === user.id || user.roles.includes('admin')) && (
              <button type="button" disabled={remove.isPending} onClick={() => remove.mutate(id)}>
                {id === user.id ? 'Leave' : `Remove`}
                <span className="hidden"> {id === user.id ? room.name : name}</span>
              </button>
            )}
          </li>
        ))}
      </ul>
      {others.length > 0 && (
        <form onSubmit={submit}>
          <label htmlFor="new-member">Bring somebody in</label>
          <div className="row">
            <select id="new-member" name="user">
              {others.map(({ id, name }) => (
                <option key={id} value={id}>
                  {name}
                </option>
              ))}
            </select>
            <button disabled={add.isPending}>Add</button>
          </div>
        </form>
      )}
      <p role="alert">{(add.error ?? remove.error)?.message}</p>
    </div>
  );
}

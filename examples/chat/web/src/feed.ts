/**
 * The notifications: a stream that one handler of the app answers itself, read with what every browser has.
 *
 * A browser opens six connections to a server of HTTP/1.1, for all its tabs. So a tab that nobody sees gives its own
 * back; seen again, it is told what is unread.
 */

import { useEffect, useState } from 'react';
import type { Notification } from './api';

export function useFeed(onEnd: () => void): Notification[] {
  const [unread, setUnread] = useState<Notification[]>([]);
  useEffect(() => {
    let stream: EventSource | undefined;
    const close = () => {
      stream?.close();
      stream = undefined;
    };
    const open = () => {
      close();
      stream = new EventSource('/api/notifications/stream');
      const on = <T>(event: string, heard: (data: T) => void) =>
        stream?.addEventListener(event, ({ data }: MessageEvent) => heard(JSON.parse(data)));
      on<{ notifications: Notification[] }>('initial', ({ notifications }) => setUnread(notifications));
      // At the border of `initial` it may come a second time.
      on<Notification>('notification', (one) => setUnread((all) => [one, ...all.filter(({ id }) => id !== one.id)]));
      on('notifications_read', () => setUnread([]));
      on('gap', open);
      // It comes back by itself, but not after a refusal.
      stream.addEventListener('error', () => {
        if (stream?.readyState === EventSource.CLOSED) onEnd();
      });
    };
    const seen = () => (document.hidden ? close() : stream ?? open());
    seen();
    document.addEventListener('visibilitychange', seen);
    return () => {
      document.removeEventListener('visibilitychange', seen);
      close();
    };
  }, [onEnd]);
  return unread;
}

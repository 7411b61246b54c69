import { useState, type FormEvent } from 'react';
import type { Summary, User } from './api';
import { Detail } from './Detail';
import { useCreatePost, usePosts, useStar, useStars } from './queries';

export function Posts({ user }: { user: User }) {
  const posts = usePosts();
  const stars = useStars().data ?? [];
  const [open, setOpen] = useState<number>();
  return (
    <>
      <NewPost user={user} />
      {posts.error && <p role="alert">{posts.error.message}</p>}
      {posts.data?.length === 0 && <p className="quiet">Nothing yet. Write the first one.</p>}
      <ul className="posts" aria-busy={posts.isFetching}>
        {posts.data?.map((post) => (
          <li key={post.id} data-pending={post.pending}>
            {typeof post.id === 'number' ? (
              <Line
                id={post.id}
                post={post}
                starred={stars.includes(post.id)}
                open={open === post.id}
                onToggle={(on) => setOpen(on ? Number(post.id) : undefined)}
              />
            ) : (
              <p className="line">
                <span className="title">{post.title}</span> <small>sending …</small>
              </p>
            )}
          </li>
        ))}
      </ul>
      <p className="quiet">
        <span aria-hidden="true">★</span> {stars.length} starred, which only {user} can see.
      </p>
    </>
  );
}

function NewPost({ user }: { user: User }) {
  const create = useCreatePost(user);

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const input = event.currentTarget.elements.namedItem('title') as HTMLInputElement;
    const title = input.value.trim();
    if (!title) return;
    input.value = '';
    create.mutate(title, { onError: () => (input.value ||= title) });
  }

  return (
    <form className="new" onSubmit={submit}>
      <label htmlFor="title">New post</label>
      <div className="row">
        <input id="title" name="title" autoComplete="off" maxLength={200} required aria-describedby="hint" />
        <button>Post</button>
      </div>
      <p id="hint" className="quiet">
        The server refuses a title with “fail” in it.
      </p>
      <p role="alert">{create.error?.message}</p>
    </form>
  );
}

interface LineProps {
  id: number;
  post: Summary;
  starred: boolean;
  open: boolean;
  onToggle: (open: boolean) => void;
}

function Line({ id, post, starred, open, onToggle }: LineProps) {
  const star = useStar(id);
  return (
    <>
      <div className="line">
        <button type="button" className="title" aria-expanded={open} onClick={() => onToggle(!open)}>
          {post.title}
        </button>
        <small>{post.author}</small>
        <button
          type="button"
          className="star"
          aria-label={`Star “${post.title}”`}
          aria-pressed={starred}
          disabled={star.isPending}
          onClick={() => star.mutate(!starred)}
        >
          {starred ? '★' : '☆'}
        </button>
      </div>
      {open && <Detail id={id} />}
    </>
  );
}

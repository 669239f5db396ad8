-- A music library: the shape of the reference application, with the composite keys it does without.
CREATE TABLE artists (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name varchar(200) NOT NULL,
    country varchar(2),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE songs (
    id bigserial PRIMARY KEY,
    artist_id bigint NOT NULL REFERENCES artists (id),
    title varchar(300) NOT NULL,
    duration_ms integer NOT NULL CHECK (duration_ms > 0),
    status varchar(16) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'analysed', 'failed')),
    lyrics text,
    search tsvector GENERATED ALWAYS AS (to_tsvector('simple', title)) STORED,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK (created_at <= updated_at)
);
CREATE INDEX songs_title ON songs (lower(title) text_pattern_ops);
CREATE INDEX songs_status ON songs (status, updated_at);
CREATE TABLE users (
    id serial PRIMARY KEY,
    email varchar(120) NOT NULL UNIQUE,
    username varchar(20) NOT NULL,
    age smallint CHECK (age BETWEEN 18 AND 120)
);
CREATE UNIQUE INDEX users_username ON users (lower(username));
CREATE TABLE playlists (
    id bigserial PRIMARY KEY,
    owner_id integer NOT NULL REFERENCES users (id),
    name text NOT NULL,
    public boolean NOT NULL DEFAULT false
);
CREATE TABLE playlist_songs (
    playlist_id bigint NOT NULL REFERENCES playlists (id) ON DELETE CASCADE,
    position integer NOT NULL,
    song_id bigint NOT NULL REFERENCES songs (id),
    added_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (playlist_id, position),
    UNIQUE (playlist_id, song_id)
);
CREATE INDEX playlist_songs_song ON playlist_songs (song_id);
CREATE TABLE analysis_results (
    song_id bigint PRIMARY KEY REFERENCES songs (id),
    score numeric(5, 2) NOT NULL CHECK (score BETWEEN 0 AND 100),
    sentiment numeric(4, 3) NOT NULL CHECK (sentiment >= -1 AND sentiment <= 1),
    details jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE IF NOT EXISTS visit (id serial PRIMARY KEY, name text NOT NULL, at timestamptz NOT NULL DEFAULT now());

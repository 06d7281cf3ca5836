"""Routes: parse → ask the engine → respond."""

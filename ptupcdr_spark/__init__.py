"""Tables, base models, embeddings and lists past one machine: the core's, made by Apache Spark."""

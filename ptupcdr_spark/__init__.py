"""The core's tables, base models, embeddings and lists, made by Apache Spark for data past one machine."""

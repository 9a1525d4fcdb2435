# A stand-in for apache/kafka:4.3.1, see `make` beside this file: the same jars under Debian's Java.
FROM debian:12-slim
RUN apt-get update && apt-get install -y --no-install-recommends default-jre-headless && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --no-create-home appuser \
    && install -d -o appuser -g appuser /var/lib/kafka/data /opt/kafka/config
COPY libs /opt/kafka/libs
COPY --chown=root:root kafka-run /etc/kafka/docker/run
ENV CLUSTER_ID=5L6g3nShT-eMCtK--X86sw
VOLUME /var/lib/kafka/data
EXPOSE 9092
USER appuser
CMD ["/etc/kafka/docker/run"]

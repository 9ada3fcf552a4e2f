# The same place for the jars as in the official image.
FROM tidelock-test/debian-java
COPY libs /opt/kafka/libs

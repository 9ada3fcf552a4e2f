# The same place for the jars as in the official image.
FROM tidelock-test/java
COPY libs /opt/kafka/libs

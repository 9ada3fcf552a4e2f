FROM tidelock-test/debian-java
COPY libs /opt/hbase/libs

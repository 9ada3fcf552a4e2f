package tidelock;

import java.io.IOException;
import java.net.URI;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.LocalFileSystem;

/**
 * The local disk without files of checksums beside the data. With them Hadoop keeps the last bytes of a file to itself until 512 are
 * together, also when it is told to flush: a killed server would forget rows that it has acknowledged.
 */
public final class Disk extends LocalFileSystem {
    @Override
    public void initialize(URI name, Configuration conf) throws IOException {
        super.initialize(name, conf);
        setWriteChecksum(false);
    }
}

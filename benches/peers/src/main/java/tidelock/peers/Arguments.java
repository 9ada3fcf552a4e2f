package tidelock.peers;

/**
 * What the jobs are told: brokers, input topic, output topic or table, interval in ms, name, folder for state, URL of the database, and
 * of the pipeline the URL of the lookup's database and the number of keys.
 */
public record Arguments(
        String brokers,
        String from,
        String to,
        long intervalMs,
        String name,
        String folder,
        String database,
        String lookup,
        long keys) {
    public static Arguments of(String[] words) {
        if (words.length != 6 && words.length != 7 && words.length != 9) {
            throw new IllegalArgumentException("BROKERS FROM TO INTERVAL_MS NAME FOLDER [DATABASE [LOOKUP KEYS]]");
        }
        return new Arguments(
                words[0],
                words[1],
                words[2],
                Long.parseLong(words[3]),
                words[4],
                words[5],
                words.length > 6 ? words[6] : null,
                words.length > 7 ? words[7] : null,
                words.length > 8 ? Long.parseLong(words[8]) : 0);
    }
}

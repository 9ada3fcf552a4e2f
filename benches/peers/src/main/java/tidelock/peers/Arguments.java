package tidelock.peers;

/** What the jobs are told: brokers, input topic, output topic or table, interval in ms, name, folder for state, URL of the database. */
public record Arguments(
        String brokers, String from, String to, long intervalMs, String name, String folder, String database) {
    public static Arguments of(String[] words) {
        if (words.length != 6 && words.length != 7) {
            throw new IllegalArgumentException("BROKERS FROM TO INTERVAL_MS NAME FOLDER [DATABASE]");
        }
        return new Arguments(
                words[0],
                words[1],
                words[2],
                Long.parseLong(words[3]),
                words[4],
                words[5],
                words.length == 7 ? words[6] : null);
    }
}

package tidelock.peers;

/** What both jobs are told: brokers, input topic, output topic, interval in ms, name, folder for state. */
record Arguments(String brokers, String from, String to, long intervalMs, String name, String folder) {
    static Arguments of(String[] words) {
        if (words.length != 6) {
            throw new IllegalArgumentException("BROKERS FROM TO INTERVAL_MS NAME FOLDER");
        }
        return new Arguments(words[0], words[1], words[2], Long.parseLong(words[3]), words[4], words[5]);
    }
}

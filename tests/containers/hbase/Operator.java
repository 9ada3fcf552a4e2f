package tidelock;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.Cell;
import org.apache.hadoop.hbase.CellUtil;
import org.apache.hadoop.hbase.LocalHBaseCluster;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.ColumnFamilyDescriptorBuilder;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.Put;
import org.apache.hadoop.hbase.client.RegionInfo;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.ResultScanner;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.Table;
import org.apache.hadoop.hbase.client.TableDescriptorBuilder;
import org.apache.hadoop.hbase.regionserver.HRegion;
import org.apache.hadoop.hbase.util.Bytes;

/** What tests ask a person with HBase's shell to do, over HTTP: a shell takes seconds to start. Each answer comes when it is done. */
final class Operator {
    private static final long PATIENCE_SECONDS = 60;

    private final LocalHBaseCluster cluster;
    private final Connection connection;
    private final Admin admin;

    private Operator(Configuration conf, LocalHBaseCluster cluster) throws IOException {
        this.cluster = cluster;
        connection = ConnectionFactory.createConnection(conf);
        admin = connection.getAdmin();
    }

    static void listen(Configuration conf, LocalHBaseCluster cluster) throws IOException {
        Operator operator = new Operator(conf, cluster);
        int port = conf.getInt("tidelock.operator.port", 0);
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
        server.createContext("/", operator::answer);
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
    }

    private void answer(HttpExchange exchange) throws IOException {
        int code = 200;
        String text;
        try {
            text = perform(new Question(exchange));
        } catch (Exception | LinkageError error) {
            code = 500;
            text = error.toString().lines().findFirst().orElse("") + "\n";
        }
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(code, body.length == 0 ? -1 : body.length); // 0 would say that the length is unknown
        if (body.length > 0) {
            exchange.getResponseBody().write(body);
        }
        exchange.close();
    }

    private String perform(Question question) throws Exception {
        if (question.operation.equals("tables")) {
            return tables();
        }
        TableName table = TableName.valueOf(question.text("table"));
        switch (question.operation) {
            case "create":
                create(table, question);
                return "";
            case "drop":
                admin.disableTable(table);
                admin.deleteTable(table);
                return "";
            case "flush":
                for (HRegion region : open(table)) {
                    region.flush(true);
                }
                return "";
            case "compact":
                for (HRegion region : open(table)) {
                    region.compact(true);
                }
                return "";
            case "split":
                split(table, question.bytes("key"));
                return "";
            case "reopen":
                for (RegionInfo region : admin.getRegions(table)) {
                    admin.unassign(region.getRegionName(), true);
                    admin.assign(region.getRegionName());
                }
                return "";
            case "regions":
                return regions(table);
            case "put":
                put(table, question);
                return "";
            case "cells":
                return cells(table, question.has("raw"));
            default:
                throw new IllegalArgumentException("nobody knows how to '" + question.operation + "'");
        }
    }

    private String tables() throws IOException {
        StringBuilder lines = new StringBuilder();
        for (TableName table : admin.listTableNames()) {
            lines.append(table.getNameAsString()).append('\n');
        }
        return lines.toString();
    }

    /** A family is its name and attributes, named as in HBase's shell: `f,VERSIONS=3,TTL=60`. */
    private void create(TableName table, Question question) throws IOException {
        TableDescriptorBuilder descriptor = TableDescriptorBuilder.newBuilder(table);
        for (String text : question.all("family")) {
            String[] parts = text.split(",");
            ColumnFamilyDescriptorBuilder family =
                    ColumnFamilyDescriptorBuilder.newBuilder(Bytes.toBytes(parts[0]));
            for (String attribute : Arrays.copyOfRange(parts, 1, parts.length)) {
                String[] pair = attribute.split("=", 2);
                family.setValue(pair[0], pair[1]);
            }
            descriptor.setColumnFamily(family.build());
        }
        byte[][] keys = question.all("split").stream().map(Question::decode).toArray(byte[][]::new);
        if (keys.length == 0) {
            admin.createTable(descriptor.build());
        } else {
            admin.createTable(descriptor.build(), keys);
        }
    }

    /** The regions themselves: what is asked of them is done when they return, which HBase's own interface does not promise. */
    private List<HRegion> open(TableName table) throws IOException {
        List<HRegion> regions = cluster.getRegionServer(0).getRegions(table);
        if (regions.size() != admin.getRegions(table).size()) {
            throw new IOException("not all regions of " + table + " are open");
        }
        return regions;
    }

    private void split(TableName table, byte[] key) throws Exception {
        for (RegionInfo region : admin.getRegions(table)) {
            if (region.containsRow(key)) {
                admin.splitRegionAsync(region.getRegionName(), key).get(PATIENCE_SECONDS, TimeUnit.SECONDS);
                return;
            }
        }
        throw new IOException("no region of " + table + " has the key");
    }

    private String regions(TableName table) throws IOException {
        StringBuilder lines = new StringBuilder();
        for (RegionInfo region : admin.getRegions(table)) {
            lines.append(encode(region.getStartKey(), 0, region.getStartKey().length)).append('\n');
        }
        return lines.toString();
    }

    private void put(TableName table, Question question) throws IOException {
        Put put = new Put(question.bytes("row"));
        byte[] family = Bytes.toBytes(question.text("family"));
        byte[] qualifier = question.bytes("qualifier");
        byte[] value = question.bytes("value");
        if (question.has("timestamp")) {
            put.addColumn(family, qualifier, Long.parseLong(question.text("timestamp")), value);
        } else {
            put.addColumn(family, qualifier, value);
        }
        try (Table opened = connection.getTable(table)) {
            opened.put(put);
        }
    }

    /** A line for each cell, in HBase's order. Raw, also those that a newer one or a delete hides, and the deletes. */
    private String cells(TableName table, boolean raw) throws IOException {
        StringBuilder lines = new StringBuilder();
        Scan scan = new Scan().readAllVersions().setRaw(raw);
        try (Table opened = connection.getTable(table);
                ResultScanner results = opened.getScanner(scan)) {
            for (Result result : results) {
                for (Cell cell : result.rawCells()) {
                    lines.append(line(cell));
                }
            }
        }
        return lines.toString();
    }

    private static String line(Cell cell) {
        return String.join(
                "\t",
                encode(cell.getRowArray(), cell.getRowOffset(), cell.getRowLength()),
                Bytes.toString(CellUtil.cloneFamily(cell)),
                encode(cell.getQualifierArray(), cell.getQualifierOffset(), cell.getQualifierLength()),
                Long.toString(cell.getTimestamp()),
                cell.getType().name(),
                encode(cell.getValueArray(), cell.getValueOffset(), cell.getValueLength()) + "\n");
    }

    private static String encode(byte[] bytes, int offset, int length) {
        byte[] part = Arrays.copyOfRange(bytes, offset, offset + length);
        return Base64.getUrlEncoder().withoutPadding().encodeToString(part);
    }
}

package tidelock;

import com.sun.net.httpserver.HttpExchange;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** What the operator is asked: the path says what to do, and the parameters behind it with what. Keys and values are base64 for URLs. */
final class Question {
    final String operation;
    private final Map<String, List<String>> parameters = new TreeMap<>();

    Question(HttpExchange exchange) {
        operation = exchange.getRequestURI().getPath().substring(1);
        String query = exchange.getRequestURI().getRawQuery();
        for (String parameter : query == null ? new String[0] : query.split("&")) {
            String[] parts = parameter.split("=", 2);
            String value = parts.length == 2 ? URLDecoder.decode(parts[1], StandardCharsets.UTF_8) : "";
            parameters.computeIfAbsent(parts[0], name -> new ArrayList<>()).add(value);
        }
    }

    boolean has(String name) {
        return parameters.containsKey(name);
    }

    String text(String name) {
        List<String> all = all(name);
        if (all.size() != 1) {
            throw new IllegalArgumentException(operation + " wants one parameter '" + name + "'");
        }
        return all.get(0);
    }

    List<String> all(String name) {
        return parameters.getOrDefault(name, List.of());
    }

    byte[] bytes(String name) {
        return decode(text(name));
    }

    static byte[] decode(String text) {
        return Base64.getUrlDecoder().decode(text);
    }
}

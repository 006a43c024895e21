import java.io.PrintStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;

/**
 * Starts one OpenSearch node from the jars on the class path.
 *
 *   java -cp 'lib/*' OsNode.java HOME [setting=value | +plugin.class.Name] ...
 *
 * Prints "READY http://127.0.0.1:PORT" and stops when its standard input ends.
 * Uses reflection only: the same source starts OpenSearch 2.x and 3.x.
 */
public class OsNode {
    static final List<String> PLUGINS = new ArrayList<>(List.of(
        "org.opensearch.transport.Netty4", "org.opensearch.analysis.common.CommonAnalysis",
        "org.opensearch.painless.Painless", "org.opensearch.index.reindex.Reindex",
        "org.opensearch.index.mapper.MapperExtras", "org.opensearch.ingest.common.IngestCommon",
        "org.opensearch.script.mustache.Mustache"));

    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        System.setOut(System.err);                              // Log4j's console: nobody drains stdout
        try {
            run(args, out);
        } catch (InvocationTargetException e) {
            e.getCause().printStackTrace();
            System.exit(1);
        }
    }

    static void run(String[] args, PrintStream out) throws Exception {
        Path home = Path.of(args[0]).toAbsolutePath();
        for (String d : new String[] {"config", "data", "logs", "modules", "plugins"})
            Files.createDirectories(home.resolve(d));
        Map<String, String> kv = new TreeMap<>(Map.of(
            "path.home", home.toString(), "cluster.name", "test", "node.name", "n1",
            "network.host", "127.0.0.1", "http.port", "0", "transport.port", "0",
            "discovery.type", "single-node",
            "cluster.routing.allocation.disk.threshold_enabled", "false"));
        for (int i = 1; i < args.length; i++) {
            int eq = args[i].indexOf('=');
            if (args[i].startsWith("+"))
                PLUGINS.add(args[i].substring(1).replaceAll("Plugin$", ""));
            else
                kv.put(args[i].substring(0, eq), args[i].substring(eq + 1));
        }
        Class<?> settingsC = Class.forName("org.opensearch.common.settings.Settings");
        Object builder = settingsC.getMethod("builder").invoke(null);
        Method put = builder.getClass().getMethod("put", String.class, String.class);
        for (Map.Entry<String, String> e : kv.entrySet())
            put.invoke(builder, e.getKey(), e.getValue());
        Object settings = builder.getClass().getMethod("build").invoke(builder);
        Supplier<String> name = () -> "n1";
        Object env = Class.forName("org.opensearch.node.InternalSettingsPreparer")
            .getMethod("prepareEnvironment", settingsC, Map.class, Path.class, Supplier.class)
            .invoke(null, settings, Map.of(), home.resolve("config"), name);

        Class<?> nodeC = Class.forName("org.opensearch.node.Node");
        Constructor<?> ctor = nodeC.getDeclaredConstructor(
            Class.forName("org.opensearch.env.Environment"), Collection.class, boolean.class);
        ctor.setAccessible(true);
        boolean info = ctor.getGenericParameterTypes()[1].toString().contains("PluginInfo");
        Class<?> versionC = Class.forName("org.opensearch.Version");
        Object version = versionC.getField("CURRENT").get(null);
        List<Object> plugins = new ArrayList<>();
        for (String p : PLUGINS) {
            Class<?> c;
            try {
                c = Class.forName(p + "ModulePlugin");          // 3.x
            } catch (ClassNotFoundException e) {
                c = Class.forName(p + "Plugin");                // 2.x
            }
            plugins.add(!info ? c : Class.forName("org.opensearch.plugins.PluginInfo")
                .getConstructor(String.class, String.class, String.class, versionC, String.class,
                                String.class, List.class, boolean.class)
                .newInstance(c.getName(), "classpath", "NA", version, "17", c.getName(),
                             List.of(), false));
        }
        AutoCloseable node = (AutoCloseable) ctor.newInstance(env, plugins, true);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
            } catch (Exception e) {
                e.printStackTrace();
            }
        }));
        nodeC.getMethod("start").invoke(node);
        Method injector = nodeC.getMethod("injector");
        Class<?> httpC = Class.forName("org.opensearch.http.HttpServerTransport");
        Object http = injector.getReturnType().getMethod("getInstance", Class.class)
            .invoke(injector.invoke(node), httpC);
        Object bound = httpC.getMethod("boundAddress").invoke(http);
        Object addr = bound.getClass().getMethod("publishAddress").invoke(bound);
        out.println("READY http://127.0.0.1:" + addr.getClass().getMethod("getPort").invoke(addr));
        while (System.in.read() >= 0) { }                       // the parent closed the pipe, or died
        System.exit(0);
    }
}
